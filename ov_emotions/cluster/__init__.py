"""Bulk classification of folders on Ray Data: by parts, each of which is done once.

The way: `plan` cuts the input files into parts, ranges of rows, and records them; `worker` reads,
classifies and writes a part; `output` holds the folder and knows which parts
stand; `run` lets Ray Data hand the parts that are left to a pool of actors.

**Why parts, and not rows, go through Ray Data.** `read_parquet().map_batches().write_parquet()`
streams rows through the object store and names its output files anew in every run: after a kill
nothing says which rows are written, rows that a block holds have no numbers, and a retried write
may leave a row twice. Here an item of the dataset is the description of a part; the actor that gets
it reads the rows itself, and moves the part's file into place when it is whole. To do a part twice
is to write the same bytes twice, so Ray Data may retry as it likes, and a part is done when its
file stands. Ray Data does what it is good at: it keeps the pool of actors, starts anew those that
die, gives their parts to others, and holds parts back until an actor is free. The rows never cross
a process, so memory is bounded by the parts under way, not by what the object store holds.
"""
