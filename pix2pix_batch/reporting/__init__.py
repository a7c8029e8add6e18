"""The pages and pictures that commands leave: reports, charts, contact sheets."""
