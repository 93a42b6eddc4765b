"""Tests of the console: pure models and renders, pilot tests on a scripted control, and a showcase to look at."""
