"""The fair score: its question, the ways to solve it, its certificate."""
