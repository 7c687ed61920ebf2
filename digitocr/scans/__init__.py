"""Scan files → Document and Pages: find them, hash them, decode one page at a time."""

from digitocr.scans.finding import ScanFile, find, shown, skipped
from digitocr.scans.opening import OpenScan, load, open_scan

__all__ = ["OpenScan", "ScanFile", "find", "load", "open_scan", "shown", "skipped"]
