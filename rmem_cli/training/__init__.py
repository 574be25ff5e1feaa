"""Learning: the loop, back-propagation, optimizers, schedules, curricula and what is shown of them."""
