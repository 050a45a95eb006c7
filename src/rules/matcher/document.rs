//! What can be matched: anything that tells the values of its fields.

use std::convert::Infallible;

use serde_json::Value;

use crate::domain::alert::Alert;
use crate::rules::fields::Fields;
use crate::rules::matcher::run::Run;

/// Something with fields.
pub trait Document {
    /// Why it could not be read.
    type Fault;

    /// Tells the run all values of the fields that rules name.
    ///
    /// # Errors
    /// When it cannot be read; what was told so far then counts for nothing.
    fn tell<'d>(&'d self, fields: &'d Fields, run: &mut Run<'_, 'd>) -> Result<(), Self::Fault>;
}

impl Document for Alert {
    type Fault = Infallible;

    fn tell<'d>(&'d self, fields: &'d Fields, run: &mut Run<'_, 'd>) -> Result<(), Infallible> {
        for (number, field) in fields.all().iter().enumerate() {
            if field.visit(self, &mut |value| run.value(number, value)) {
                run.present(number);
            }
        }
        Ok(())
    }
}

impl Document for Value {
    type Fault = Infallible;

    fn tell<'d>(&'d self, fields: &'d Fields, run: &mut Run<'_, 'd>) -> Result<(), Infallible> {
        for (number, field) in fields.all().iter().enumerate() {
            if field.visit_event(self, &mut |value| run.value(number, value)) {
                run.present(number);
            }
        }
        Ok(())
    }
}
