"""A verification's report as one HTML page that needs nothing but a browser.

`page` puts it together. `tally`, `missing`, `sizes`, `samples` and `damaged` gather what it shows; none of them holds
more than the page will. `sections` and `gallery` give it form by way of `markup`, which escapes whatever is not markup
of ours, and `table`. How it looks and what its few controls do lies beside them in `page.html`, `page.css`, `page.js`.
"""

from cvl.output.page.page import MAX_BYTES, check_target, render_page, write_page

__all__ = ["MAX_BYTES", "check_target", "render_page", "write_page"]
