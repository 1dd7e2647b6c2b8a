"""`python -m providerhub` is the script `providerhub`."""

from providerhub.cli import main

if __name__ == "__main__":
    main()
