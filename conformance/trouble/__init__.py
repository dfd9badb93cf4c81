"""Trouble, planted into cells of a real run: does each stay with the cell and the phase that it came from?"""
