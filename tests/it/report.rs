//! Reports: every rule in every status it can take, same inputs give same bytes, the PDF says
//! what the model says, catalogues and manifests refuse what they must.

mod document;
mod fixture;
mod manifest;
mod rules;
