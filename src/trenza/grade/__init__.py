"""Grading a class: many submissions, each replayed and judged in a sandbox of its own, and what is told about them.

What belongs here: finding submissions and whose they are, the order of work and what survives a kill, evidence, and
reports. What a check asks and how it is judged is the keeper's; how a submission is read and replayed is the client's.

`submissions` and `roster` say who handed in what; `trial` grades one, `grading` all of them; `marks`, `items` and
`similarity` are values; `evidence` is what can be verified later; `page`, `exports` and `reports` tell it.
"""
