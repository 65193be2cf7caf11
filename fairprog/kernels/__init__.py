"""Pure array functions behind the populations and programs: formulas in, arrays out."""
