"""The page of a store: `material` reads it, `answer`, `curves`, `tables`, `pictures` and `what_ran` make of it what the
page shows, in plain Python values, and `writer` puts these into the templates of parts/.

Whatever the page says of names goes through the templates' escaping or, as JSON, into `textContent`.
"""
