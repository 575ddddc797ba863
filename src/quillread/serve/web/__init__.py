"""The page in the browser: its files (`static/`), and the routes that serve them."""
