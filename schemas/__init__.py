"""What travels: events, topics, codecs, headers, settings and errors. Imports nothing else of the project."""
