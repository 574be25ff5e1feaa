"""The loop and what it needs: back-propagation, optimizers, schedules, checkpoints, seeding."""
