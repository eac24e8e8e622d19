"""The site, built by `make docs` from nbs/, the package and this folder."""
import importlib.metadata
import sys
from configparser import ConfigParser
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
ini = ConfigParser(delimiters=["="])
ini.read(HERE.parent / "settings.ini", encoding="utf-8")
settings = ini["DEFAULT"]

project, author, release = settings["title"], settings["author"], settings["version"]
copyright = settings["copyright"]
language = "en"
extensions = ["myst_nb", "sphinx.ext.viewcode", "sphinx.ext.githubpages", "sphinx_copybutton", "nbdev_site"]
exclude_patterns = ["*.py", "**/*.py", "_static"]

# notebooks and Markdown
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_number_source_lines = False
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "attrs_inline", "attrs_block", "deflist"]
myst_heading_anchors = 4
copybutton_exclude = ".linenos, .gp, .go"

# the reference
add_module_names = False
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"
viewcode_follow_imported_members = False  # it would import them
modindex_common_prefix = [settings["lib_path"] + "."]

# mathematics and everything else come from the site's own host
mathjax_folder = next(f for f in importlib.metadata.files("sphinx-mathjax-offline") if f.name == "tex-svg.js").locate()
mathjax_path = "tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}

html_theme = "sphinx_book_theme"
html_title = project
html_baseurl = settings["doc_host"] + settings["doc_baseurl"] + "/"
html_static_path = ["_static", str(mathjax_folder)]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_search_scorer = str(HERE / "scorer.js")
html_favicon = "_static/favicon.svg"
html_logo = "_static/favicon.svg"
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None
html_context = {"default_mode": "auto"}
html_theme_options = {
    "repository_url": settings["git_url"],
    "repository_branch": settings["branch"],
    "path_to_docs": "docs",
    "use_repository_button": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "max_navbar_depth": 3,
    "show_toc_level": 2,
    "logo": {"text": project, "alt_text": "The front page of"},
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "github-dark-high-contrast",
    "navbar_persistent": [],
}
