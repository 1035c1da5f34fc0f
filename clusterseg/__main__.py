"""`python -m clusterseg` is `clusterseg`."""

from clusterseg.commands.front_door import main

if __name__ == "__main__":
    main()
