"""The bundle as data: its manifest, its golden answers, its preprocessing, and how answers are compared.

Knows nothing of devices, and opens no session.
"""
