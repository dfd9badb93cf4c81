"""An upgrade, tried: the candidate's environment beside the current one, one plan in both, and the gate's verdict."""
