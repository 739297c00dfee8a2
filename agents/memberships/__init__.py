"""The memberships stage: it folds `memberships`, and tells gateways whom to ask about a user."""
