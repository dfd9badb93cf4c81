"""Imported where the processes of subjects are forked from, which asks for no GPU: else none of them could have one."""

from conformance.plugin.forkserver import MODULES, import_all

import_all([*(name for name in MODULES if "plugin" not in name), "conformance.advising.serving"])
