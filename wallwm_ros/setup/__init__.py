"""First-use set-up. Standard library only: it runs before anything is installed."""
