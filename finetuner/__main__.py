"""`python -m finetuner` is the command `finetuner`."""

from finetuner.cli import main

if __name__ == '__main__':
    main()
