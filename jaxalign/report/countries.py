"""The report of a multi-country run: one page that leads to the page of each country."""

from pathlib import Path

from jaxalign.files import read_run, write_csv
from jaxalign.report.convergence_plot import FEW, plot_countries
from jaxalign.report.drawing import Sheet
from jaxalign.report.numbers import country_name, share_of_naive
from jaxalign.report.pages import write_run_page


def write_countries_report(workdir: Path) -> Path:
    """Write report/ of a finished multi-country run and return the page's path.

    Every file is written under a temporary name and then renamed, the page last.

    Raises:
        UserError: a file of the workdir is missing or damaged, or the folder cannot be written.
    """
    run = read_run(workdir, needed=("country", "loss", "countries"))
    folder, notice = workdir / "report", run.summary.get("notice")
    countries = {
        code: country | {"name": country_name(country), "share": share_of_naive(country["loss"])}
        for code, country in run.summary["countries"].items()
    }
    write_csv(
        folder / "losses.csv",
        ["country", "name", "constant", "naive", "tuned", "tuned_share_of_naive", "notice"],
        [
            [code, country["name"], *map(country["loss"].get, ("constant", "naive", "best")),
             country["share"], notice]
            for code, country in countries.items()
        ],
    )  # fmt: skip
    sheet = Sheet(folder / "convergence", f"Convergence: {len(countries)} countries", notice)
    plot_countries(run.records, countries, sheet)
    page = folder / "index.html"
    write_run_page(
        page,
        "countries.html",
        run,
        countries=countries,
        few=FEW,
        files=["losses.csv", "convergence.png", "convergence.svg"],
    )
    return page
