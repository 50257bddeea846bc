"""An invoice on paper: its words and numbers in the reader's language, its arithmetic, its page.

The page is `invoice.typ`; fonts are Inter (SIL Open Font License, see fonts/OFL.txt).
"""
