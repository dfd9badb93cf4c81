"""The suite: it runs cells and holds what happened against what should happen."""

from conformance.bytecode import keep_compiled

keep_compiled()  # before anything of the suite imports a library
