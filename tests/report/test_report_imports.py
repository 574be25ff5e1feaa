import subprocess
import sys


def test_the_report_never_imports_torch(process_timeout):
    code = (
        "import sys, rmem_cli.report.build, rmem_cli.report.formats, rmem_cli.commands.report;"
        "from rmem_cli.recipe import load_recipe;"
        "rmem_cli.report.build.build_table(load_recipe('quickstart'), []);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=process_timeout).returncode == 0


def test_the_command_imports_nothing_heavy_until_it_runs(process_timeout):
    code = (
        "import sys, rmem_cli.commands.report;"
        "heavy = {'pandas', 'numpy', 'pydantic', 'yaml', 'rmem_cli.report'} & set(sys.modules);"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=process_timeout, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
