"""`python -m facecluster` is the `facecluster` command."""

from facecluster.cli import main

if __name__ == "__main__":
    main()
