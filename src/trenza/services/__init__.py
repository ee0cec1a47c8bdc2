"""Daemons as trenza runs them: their options, the config files that these become, and what a config does to a network.

Pure: texts and values. What belongs here: everything that one must know about a daemon to write its files, to start it
and to know that it is ready. What does not: the lab file's syntax (`trenza.spec`), processes (`trenza.linux`).
"""
