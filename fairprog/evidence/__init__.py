"""What is said about an answer: its summary, and what rows of data add to it.

A `Solution` lies below and reaches here by the door `fairprog.findings`.
"""
