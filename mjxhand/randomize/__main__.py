"""`python -m mjxhand.randomize`: the table of domain randomisation, in Markdown."""

from mjxhand.randomize import markdown

print(markdown(), end="")
