"""What is done with the loaded model: a file for each. How each is done: `conformance/workloads/`."""

from matrix.rooms import Workload, discover

WORKLOADS = discover(__name__, __path__, Workload)
