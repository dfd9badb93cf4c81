"""A cache that grows with what it holds."""

from matrix.rooms import Cache

ROOMS = (Cache(name="dynamic", about="the cache that generate() makes by itself, which grows", place=0),)
