"""Labs as pytest fixtures: a marker brings one up for a test, and assertions are the checks of lab files.

pytest loads `plugin` in every run wherever trenza is installed, so that imports little; the rest is imported by the
first test that asks for a lab. What belongs here: what tests say and what a failed one tells. Labs are `client`'s.
"""
