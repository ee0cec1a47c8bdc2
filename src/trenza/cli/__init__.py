"""The command line: words in, the client's answers out, as text for people or JSON for programs.

argparse from the standard library, and only the parser of the verb that was typed is built: a whole `exec` or `show`
should take less than 100 ms (importing click costs 40 ms here, typer with rich 170).
"""
