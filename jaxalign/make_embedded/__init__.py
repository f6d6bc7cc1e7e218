"""Makes the embedded model: python -m jaxalign.make_embedded --output=DIR.

A small Llama that answers VSM13 like synthetic respondents of 36 countries. It exists so that every
command, test and tutorial runs without a download; it says nothing about any country.
"""
