"""What stages have in common that fold small facts into a table and tell devices of it: cursors and
presence.

Their folds do not number anything and do not mind repeats, so they need less than the sequencer:
what is not done when a worker dies is read and folded again.
"""
