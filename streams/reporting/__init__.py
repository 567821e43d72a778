"""The report of an exported run: numbers, pictures and sentences on one page."""
