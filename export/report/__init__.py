"""A bundle's proof for people: one page of HTML that needs nothing else.

`content.py` says what stands in it, `charts.py` draws, `page.html` lays it out.
"""
