"""`python -m example_project.demo`: sandbox, example site and task worker, started together and stopped together."""
