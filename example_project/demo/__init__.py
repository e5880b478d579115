"""`python -m example_project.demo`: sandbox, example site and task worker as one command."""
