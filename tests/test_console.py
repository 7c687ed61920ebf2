"""What long work says of itself where there is no terminal."""

from digitocr import console


def test_progress_counts_in_the_unit_of_the_work(capfd):
    with console.progress("Training", 2, quiet=False, unit="epoch") as advance:
        advance("first")
        advance("second")
    assert capfd.readouterr().err == "Training: 2 of 2 epochs, 0 s\n"
    with console.progress("Reading", 1, quiet=False) as advance:
        advance("scan.png")
    assert capfd.readouterr().err == "Reading: 1 of 1 file, 0 s\n"


def test_quiet_progress_says_nothing(capfd):
    with console.progress("Reading", 1, quiet=True) as advance:
        advance("scan.png")
    assert capfd.readouterr() == ("", "")
