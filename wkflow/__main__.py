"""``python -m wkflow``."""

from wkflow.cli import main

if __name__ == "__main__":
    main()
