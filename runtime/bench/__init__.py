"""How fast a bundle runs on this machine: measured turn by turn, and reported.

Nothing else imports it but the command.
"""
