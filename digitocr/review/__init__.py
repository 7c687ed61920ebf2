"""The review pages: plain HTML from here, htmx and a few small scripts, nothing from outside.

`app` puts the screens together, a module each; `safety` stands before them all, `desk` is what
they share. Queries and rules are in `digitocr.db`.
"""
