"""What to run: configurations of somebody's model, judged and timed in processes of their own.

What to make of it is decided in `matrix/advice/`.
"""
