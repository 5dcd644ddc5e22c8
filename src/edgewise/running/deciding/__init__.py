"""How a session decides: one pure state machine, live estimates, the choice of a route."""
