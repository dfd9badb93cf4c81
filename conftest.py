"""Wires the suite into pytest. Everything it does is in conformance/plugin/."""

pytest_plugins = ["conformance.plugin.hooks"]
