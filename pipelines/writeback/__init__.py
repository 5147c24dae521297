"""Writing back to a CRM: nothing that was not planned, shown, limited, journalled and reversible."""
