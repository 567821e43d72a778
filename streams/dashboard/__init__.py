"""The Grafana dashboard: what it shows is a table (`panels`); `python -m streams.dashboard` writes deploy/grafana/npo.json from it."""
