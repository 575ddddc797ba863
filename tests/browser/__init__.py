"""Tests of the page. A package, so that the browser is closed before other tests need an event loop of their own."""
