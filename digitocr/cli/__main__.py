"""So that `python -m digitocr.cli` is the command too."""

from digitocr.cli import main

if __name__ == "__main__":
    main()
