"""`python -m folkmoot` is `folkmoot`."""

from folkmoot.cli import main

if __name__ == "__main__":
    main()
